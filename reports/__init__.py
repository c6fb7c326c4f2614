"""Reports: tables, figures and pages read off the other packages."""
