"""fedvm.cli"""
