"""What coordinator and members of a sealed federation say to each other; see docs/sealed.md."""
