"""ONE outside thing in each file. Acts, decides nothing, knows no guest."""
