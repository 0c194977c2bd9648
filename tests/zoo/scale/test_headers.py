from pvae_zoo.scale.headers import names_digest


def test_lists_of_other_names_have_other_hashes():
    lists = (["a", "bc"], ["ab", "c"], ["abc"], ["bc", "a"], ["a", "bc", ""])
    assert len({names_digest(names) for names in lists}) == len(lists)
