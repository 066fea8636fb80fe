"""The loop that owns a device: seats and lanes of loaded engines, the ledger of its leases."""
