"""The coordinator of a sealed federation: epochs, the opening of groups' sums, settlement; see docs/sealed.md."""
