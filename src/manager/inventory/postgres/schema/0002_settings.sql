-- What is said of the inventory as a whole: one row.

CREATE TABLE reseed.settings (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    key_salt text CHECK (key_salt ~ '^[0-9a-f]{32}$')
);
COMMENT ON COLUMN reseed.settings.key_salt IS
    'where keys are encrypted, the salt of their derivation; nothing where they are in clear';
INSERT INTO reseed.settings DEFAULT VALUES;
