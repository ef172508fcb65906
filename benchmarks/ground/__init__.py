"""What measuring stands on: figures, the machine, processes, a source, an organization, devices."""
