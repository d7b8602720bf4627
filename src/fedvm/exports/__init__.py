"""What a federation is accountable for, in the formats of those who ask; a file a format (docs/exports.md)."""
