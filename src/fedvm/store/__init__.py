"""fedvm.store"""
