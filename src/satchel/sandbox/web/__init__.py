"""The Web API of the sample organization, over HTTP."""
