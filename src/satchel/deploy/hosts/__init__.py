"""The files of one host, each as it stands below the host's root folder."""
