"""What tests share: real servers, a misbehaving network, and ways to wait and look."""
