"""Where clients run: in worker processes (`grid`, `workers`), or over Flower's SuperLink (`superlink`, `relay`)."""
