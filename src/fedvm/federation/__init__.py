"""fedvm.federation"""
