"""Mobile offline profiles of Dynamics 365 and their FetchXML, turned into profiles of our own. Pure."""
