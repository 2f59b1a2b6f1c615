"""Small classification tasks from data that ships inside packages; nothing is downloaded."""
