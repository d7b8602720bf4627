"""What runs at a client: its app, the mod that signs, the rules it consents to, its privacy.

To train and to sign, a client needs neither a chain nor a coordinator: `app` and `mod` load neither web3 nor
`fedvm.federation.coordinator`. Only `direct` (submitting without the coordinator) and `appointment` (appointing a key)
use a chain.
"""
