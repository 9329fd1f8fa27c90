-- What the desk does to an account, and tells all nodes of, in Redis.
--
-- KEYS  the account, and its key under the other secret, if there is one; of
--       "tell" and "poll" the list of the policy
-- ARGV  nonce, and one of
--       "clear", now (ms), states of all limits: nothing that was counted is
--            left, nor a challenge; whom the account knows and what is usual
--            for it stays
--       "forget": nothing is left
--       "poll", the last number that the node has heard, and of which id
--       "tell", the same, then now, an id for a list that is new, and an order
--            of 57 bytes: one more for all nodes to carry out
-- Reply nonce; of "tell" and "poll" also the number that is heard of now, the
--       list's id, and the orders behind the last one: number I8 and 57 bytes
--       each, so that who tells one knows all that go before it
--
-- The list is a hash like an account's: "n" is the last number, "id" 16 bytes
-- that tell it from one that was lost, "orders" those that are not too old.
-- An order is time I8 (ms) | until I8 | node I8 | kind B | account 16 | other 16.

local NUMBER, ORDER, MOST, REPLIES = 8, 57, 512, 64
local SIZE, KEPT = NUMBER + ORDER, 7 * 86400000
local BLOCK = 2

local nonce, what = ARGV[1], ARGV[2]

local function number_of(value)
    return value and #value == 8 and struct.unpack('<I8', value) or 0
end

if what == 'clear' then
    local now = tonumber(ARGV[3])

    for _, key in ipairs(KEYS) do
        if redis.call('EXISTS', key) == 1 then
            local held = redis.call('HMGET', key, '!cleared', '!challenge')
            local since = held[2] and number_of(string.sub(held[2], 1, 8)) or 0
            local cleared = math.max(now, number_of(held[1]) + 1, since)

            redis.call('HDEL', key, '!challenge', '!due', '!grants',
                       unpack(ARGV, 4))
            redis.call('HSET', key, '!cleared',
                       struct.pack('<I8', math.min(cleared, 2 ^ 52)))
            if redis.call('PTTL', key) < 0 then
                redis.call('PEXPIRE', key, 90 * 86400000)
            end
        end
    end

    return nonce
end

if what == 'forget' then
    for _, key in ipairs(KEYS) do
        redis.call('PEXPIRE', key, 0)
    end

    return nonce
end

local held = redis.call('HMGET', KEYS[1], 'n', 'id')
local last, id = number_of(held[1]), held[2]

if not id or #id ~= 16 then
    last, id = 0, nil
end

local function orders()
    local value = redis.call('HMGET', KEYS[1], 'orders')[1]
    return value and #value % SIZE == 0 and value or ''
end

local list

if what == 'tell' then
    local now, kept, order = tonumber(ARGV[5]), {}, ARGV[7]
    local one, other = string.sub(order, 26, 41), string.sub(order, 42, 57)

    -- of what is blocked the last word is enough: a block must not outlive
    -- the order that has lifted it

    local function superseded(kind, account)
        return kind == BLOCK and (account == one or account == other)
    end

    list = id and orders() or ''

    for at = math.max(1, #list - SIZE * (MOST - 1) + 1), #list, SIZE do
        local time, ends, _, kind, account =
            struct.unpack('<I8I8I8Bc16', list, at + NUMBER)

        if not superseded(kind, account)
           and (time > now - KEPT or kind == BLOCK and ends > now)
        then
            kept[#kept + 1] = string.sub(list, at, at + SIZE - 1)
        end
    end

    last, id = last + 1, id or ARGV[6]
    kept[#kept + 1] = struct.pack('<I8', last) .. order
    list = table.concat(kept)

    redis.call('HSET', KEYS[1], 'n', struct.pack('<I8', last), 'id', id,
               'orders', list)
    redis.call('PEXPIRE', KEYS[1], 90 * 86400000)
end

local heard = tonumber(ARGV[3])

if not id then
    return nonce .. ' 0 ' .. string.rep('\0', 16)
end

if id ~= ARGV[4] then
    heard = 0
end

if heard >= last then
    return nonce .. ' ' .. string.format('%.0f', last) .. ' ' .. id
end

local told, upto = {}, last

list = list or orders()

for at = 1, #list, SIZE do
    local number = struct.unpack('<I8', list, at)

    if number > heard then
        if #told == REPLIES then
            upto = struct.unpack('<I8', told[#told])
            break
        end
        told[#told + 1] = string.sub(list, at, at + SIZE - 1)
    end
end

return nonce .. ' ' .. string.format('%.0f', upto) .. ' ' .. id
       .. table.concat(told)
