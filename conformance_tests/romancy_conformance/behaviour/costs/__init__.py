"""What the engine costs a database, counted where the statements arrive: noise cannot blur a count."""
