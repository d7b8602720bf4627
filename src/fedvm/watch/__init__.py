"""Following federations and services: each new round is audited, a false proposal challenged, a demand answered."""
