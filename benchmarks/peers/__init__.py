"""Other products, run beside Satchel on the same rows with their own clients. Installed into .cache/ when measured."""
