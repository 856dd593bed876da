"""Where pipelines come from: hub or local folder, random weights of the true size, the embedded tiny one."""
