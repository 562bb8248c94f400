-- The verdict that datatrove's three filters give with the swh_Latn settings of FineWeb-2, from our signals.
-- datatrove's tokenizer counts punctuation marks as words: 1 + punctuation of them for each of ours.
SELECT id,
       words = 0 OR duplicate_lines > 0.302
       OR top_2_grams > 0.396 OR top_3_grams > 0.282 OR top_4_grams > 0.231
       OR duplicate_5_grams > 0.193 OR duplicate_6_grams > 0.17 OR duplicate_7_grams > 0.155
       OR duplicate_8_grams > 0.14 OR duplicate_9_grams > 0.126 OR duplicate_10_grams > 0.113
       -- FineWebQualityFilter
       OR stop_lines < 0.143 OR duplicate_line_characters > 0.1 OR newlines / (1 + punctuation) > 0.167
       -- GopherQualityFilter; its nine stop words are among the most frequent words
       OR words < 50 OR words > 100000 OR mean_word_length < 3 OR mean_word_length > 9
       OR hash_words / (1 + punctuation) > 0.1 OR ellipsis_words / (1 + punctuation) > 0.1
       OR bullet_lines > 0.9 OR ellipsis_lines > 0.3 OR alpha_words / (1 + punctuation) < 0.802
       OR coalesce(function_words * words < 2, false) AS dropped
FROM quality
