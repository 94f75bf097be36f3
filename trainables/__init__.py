"""What one trial does on its device."""
