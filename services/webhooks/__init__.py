"""Webhooks: what receivers are owed, and sending it to addresses that strangers chose."""
