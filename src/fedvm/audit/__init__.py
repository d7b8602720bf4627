"""fedvm.audit"""
