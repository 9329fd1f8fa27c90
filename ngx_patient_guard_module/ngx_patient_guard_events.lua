-- Puts events into a stream, for whoever follows it.
--
-- KEYS  the stream
-- ARGV  nonce, how many the stream is to keep or 0, names of fields parted by
--       blanks, then of each event a value for each field: empty ones are
--       left out
-- Reply nonce

local names = {}

for name in string.gmatch(ARGV[3], '%S+') do
    names[#names + 1] = name
end

for at = 4, #ARGV, #names do
    local command = {'XADD', KEYS[1]}

    if ARGV[2] ~= '0' then
        command[3], command[4], command[5] = 'MAXLEN', '~', ARGV[2]
    end

    command[#command + 1] = '*'

    for i, name in ipairs(names) do
        local value = ARGV[at + i - 1]
        if value ~= '' then
            command[#command + 1] = name
            command[#command + 1] = value
        end
    end

    redis.call(unpack(command))
end

return ARGV[1]
