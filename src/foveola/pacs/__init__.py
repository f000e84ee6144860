"""The PACS: DICOM images in, de-identified and indexed; results back."""
