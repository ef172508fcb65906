"""What journeys and laws are told with: real processes, and a checker that asks the source."""
