"""Where things are and with which secret: settings that Prefect keeps, and what the core makes of them."""
