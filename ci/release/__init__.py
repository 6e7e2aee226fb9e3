"""What is released, made in dist/: wheels and sources, the bill of materials, the rehearsal."""
