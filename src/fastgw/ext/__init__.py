"""What ties fastgw to other libraries; the core imports none of it."""
