"""Guests so small that a real QEMU boots one in a moment: assembled when a test asks for them."""
