"""WHICH steps lead from what is to what the definition says. Pure: facts and the time arrive as arguments."""
