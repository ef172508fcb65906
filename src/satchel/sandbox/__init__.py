"""The sample organization: a Dataverse-shaped OData v4 service, to try Satchel with and to test it against.

It follows the public documentation of the Dataverse Web API where it follows it at all; docs/reference/sandbox.md says
what it leaves out. It speaks only OData to the rest of Satchel.
"""
