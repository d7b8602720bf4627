"""A whole federation on one machine: `server` runs it, `adversaries` are clients that misbehave on purpose."""
