"""Webhooks: what receivers are to be told, and sending it to addresses that strangers chose."""
