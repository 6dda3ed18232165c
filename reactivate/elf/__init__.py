"""What an ELF x86-64 binary says of its functions' stack frames, without running it."""
