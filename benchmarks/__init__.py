"""resnetfea beside what people write today, on this machine: `make bench`. CONTRIBUTING.md says how it measures."""
