"""fastgw: the Discord gateway core for Python bots that outgrew their library."""
