"""medk2n."""
