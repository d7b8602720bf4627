"""What runs at the coordinator: `strategy` a round's messages, `settlement` its end on chain, `rounds` the loop."""
