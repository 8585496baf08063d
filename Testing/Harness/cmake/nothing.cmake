# Included where Slicer would set its compilers and package the extension.
