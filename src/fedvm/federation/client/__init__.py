"""What runs at a client: its app, the mod that signs, what it consents to, its privacy.

To train and to sign it needs neither a chain nor a coordinator: `app` and `mod` load neither web3 nor
`fedvm.federation.coordinator`. Only who submits past the coordinator (`direct`) or appoints a key (`appointment`)
speaks with a chain itself.
"""
