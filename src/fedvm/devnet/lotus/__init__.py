"""A chain that behaves as Filecoin's behind Lotus's Ethereum RPC: tipsets, deferred execution, its gas, its errors."""
