"""The console: web pages for administrators. It shows and does what the command line does, by the same functions."""
