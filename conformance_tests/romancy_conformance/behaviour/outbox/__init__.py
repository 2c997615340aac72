"""The relay: published events reach their receiver, whatever it does and whatever else happens."""
