"""What `bench_audits.py` measures: audits, decisions, tampering and false alarms."""
