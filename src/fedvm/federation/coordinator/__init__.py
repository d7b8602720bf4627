"""What runs at the coordinator: a round's messages (`strategy`), its end on chain (`settlement`), the loop
(`rounds`)."""
