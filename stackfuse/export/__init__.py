ExportReport = export = to_keras = None
