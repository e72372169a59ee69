from freight.readers.raw import RawTable


def read_excel(file, contract, options) -> RawTable:
    raise NotImplementedError
